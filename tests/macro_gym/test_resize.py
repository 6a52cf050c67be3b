"""Resizing without OpenCV gives OpenCV's bits, whatever was resized before."""

import pickle

import cv2
import numpy as np
import pytest

from macro_gym.resize import AreaResizer, OpenCVResizer, resizer


def opencv(image, shape):
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)


def images(shape, n):
    """Images of which some rows, all or none differ from the one before."""
    rng = np.random.default_rng(shape)
    image = np.zeros(shape, np.uint8)
    for _ in range(n):
        image = image.copy()
        rows = rng.random(shape[0]) < rng.choice([0, 0.1, 0.5, 1])
        image[rows] = rng.integers(0, 256, (rows.sum(), *shape[1:]), dtype=np.uint8)
        yield image


@pytest.mark.parametrize(
    ("raw", "shape"),
    [
        ((210, 160), (84, 84)),
        ((250, 160), (84, 84)),
        ((210, 160), (64, 64)),
        ((230, 160), (101, 97)),
        ((210, 160), (209, 159)),
        ((211, 157), (1, 3)),
    ],
)
def test_shrinking_grey_images_equals_opencv_bit_for_bit(raw, shape):
    resize = resizer(raw, shape)
    assert isinstance(resize, AreaResizer)
    out = np.empty(shape, np.uint8)
    for image in images(raw, 60):
        resize(image, out)
        np.testing.assert_array_equal(out, opencv(image, shape))


@pytest.mark.parametrize(
    ("raw", "shape"),
    [
        ((210, 160, 3), (84, 84)),
        ((210, 160), (105, 80)),  # by whole factors, where OpenCV rounds otherwise
        ((210, 160), (300, 200)),
        ((210, 160), (210, 160)),
        ((210, 160), (84, 200)),
    ],
)
def test_everything_else_is_left_to_opencv(raw, shape):
    resize = resizer(raw, shape)
    assert isinstance(resize, OpenCVResizer)
    out = np.empty((*shape, *raw[2:]), np.uint8)
    for image in images(raw, 5):
        resize(image, out)
        np.testing.assert_array_equal(out, opencv(image, shape))


def test_a_pickled_resizer_resumes_from_the_same_image():
    raw, shape = (210, 160), (84, 84)
    resize, out = resizer(raw, shape), np.empty(shape, np.uint8)
    for image in images(raw, 30):
        resize = pickle.loads(pickle.dumps(resize))
        resize(image, out)
        np.testing.assert_array_equal(out, opencv(image, shape))
