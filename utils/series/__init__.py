"""The series as a whole: running it (make run), committing its outputs, and its site (make report)."""
