"""The figure style: opaque, readable, and told apart by colour-blind readers."""

from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.colors import to_rgb, to_rgba

STYLE = mpl.rc_params_from_file(
    Path(__file__).parents[1] / "sftrl_lite/house.mplstyle", use_default_template=False
)
BACKGROUND = STYLE["figure.facecolor"]
CYCLE = STYLE["axes.prop_cycle"].by_key()["color"]
TEXT = [key for key in STYLE if key.endswith(("text.color", "labelcolor", "titlecolor"))]

# Linear RGB to XYZ (sRGB, D65), and full colour blindness (Machado et al. 2009, table 1).
XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def linear(colour: str) -> np.ndarray:
    """sRGB with its transfer curve undone."""
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """WCAG contrast ratio, 1 to 21."""
    dark, light = sorted(float(XYZ[1] @ linear(c)) for c in (a, b))
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB, where a distance of about 2 is just noticeable."""
    t = XYZ @ rgb.clip(0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_known_contrasts():
    assert contrast("black", "white") == pytest.approx(21, abs=0.01)
    assert contrast("#777777", "white") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("key", ["figure.facecolor", "axes.facecolor", "savefig.facecolor"])
def test_background_is_opaque_and_light(key):
    assert to_rgba(STYLE[key])[3] == 1
    assert contrast(STYLE[key], "white") < 1.1
    assert STYLE["savefig.transparent"] is False


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_saved_figure_is_opaque(tmp_path, suffix):
    with plt.style.context("sftrl_lite.house"):  # by name: the file is part of the package
        fig, ax = plt.subplots()
        ax.plot([0, 1])
        fig.savefig(tmp_path / f"figure.{suffix}")
        plt.close(fig)
    if suffix == "png":
        image = plt.imread(tmp_path / "figure.png")
        assert (image[..., 3] == 1).all()
        assert (image[0, 0, :3] == to_rgb(BACKGROUND)).all()
    else:
        svg = (tmp_path / "figure.svg").read_text()
        assert "fill: #ffffff" in svg
        assert "<text" not in svg


def test_text_is_readable():
    assert len(TEXT) >= 6
    assert all(contrast(STYLE[key], BACKGROUND) >= 7 for key in TEXT)


def test_first_colours_suit_thin_lines():
    assert all(contrast(colour, BACKGROUND) >= 3 for colour in CYCLE[:4])


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart(vision):
    seen = {c: lab(np.array(VISION[vision]) @ linear(c)) for c in CYCLE}
    distance = {(a, b): np.linalg.norm(seen[a] - seen[b]) for a, b in combinations(CYCLE, 2)}
    assert min(distance.values()) > 15, min(distance, key=distance.get)


def test_font_ships_with_matplotlib():
    font = font_manager.findfont(STYLE["font.sans-serif"][0], fallback_to_default=False)
    assert Path(font).is_relative_to(mpl.get_data_path())
