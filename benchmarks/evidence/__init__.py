"""The full study, ``make evidence``: several draws of cold movies, every model trained again, one page of results."""
