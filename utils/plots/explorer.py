"""A picture with a dropdown of users above it, for the end of a notebook's cell."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from utils.handoff.parameters import ParameterError
from utils.plots.style import Picture

NO_WIDGETS = "A dropdown of users appears here in JupyterLab; the picture above is its first."
"""What stands in a notebook's file in place of the explorer, where nothing can draw it."""


class Explorer(ipywidgets.VBox):
    """A dropdown of ``users`` above the picture that ``draw`` makes of the chosen one; the first comes first."""

    def __init__(self, users: Sequence[int], draw: Callable[[int], Picture]) -> None:
        """Draw the first of ``users``. Raises ParameterError where there is none."""
        if not len(users):
            raise ParameterError("There is no user to choose from. Choose among the users of recommendations.parquet.")
        self.picture = ipywidgets.Image(format="png")
        self.dropdown = ipywidgets.Dropdown(options=[int(user) for user in users], description="userId")
        self._draw = draw
        self.dropdown.observe(lambda _: self._show(), names="value")
        self._show()
        super().__init__([self.dropdown, self.picture])

    def _show(self) -> None:
        # Bytes of a finished picture: they need no plotting front end, and are the same wherever they are shown.
        self.picture.value = self._draw(self.dropdown.value).png()

    def _repr_mimebundle_(self, **arguments: Any) -> dict[str, Any]:
        """Return the widget, and ``NO_WIDGETS`` for viewers of the notebook's file that have none."""
        return super()._repr_mimebundle_(**arguments) | {"text/plain": NO_WIDGETS}
