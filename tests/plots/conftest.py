"""What holds for every picture."""

from io import BytesIO

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from PIL import Image

from utils.plots import style


@pytest.fixture(scope="session", autouse=True)
def headless():
    backend = mpl.get_backend()
    plt.switch_backend("Agg")
    yield
    plt.switch_backend(backend)


def png(figure: Figure, height: float = style.HEIGHT) -> bytes:
    """Return the figure as PNG after checking what holds for all: size, weight, closed."""
    assert (figure.get_size_inches() <= (style.WIDTH + 1e-6, height + 0.01)).all()
    data = figure.png()
    assert 500 < len(data) < 60_000 and Image.open(BytesIO(data)).format == "PNG"
    assert not plt.get_fignums(), "the figure would be shown twice in a notebook"
    return data


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))
