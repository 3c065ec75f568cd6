"""Which layer is worth writing behind which, in chains of image layers; caps are not looked at."""

from rlnas.cost import Layer, Shape

CONVOLUTIONS = ("conv", "sepconv")
POOLINGS = ("maxpool", "avgpool")
_DROPPED_BEHIND = (*POOLINGS, "flatten", "globalpool", "dense")
IMAGE_ENDS = ("flatten", "globalpool")
_IMAGE_ONLY = (*CONVOLUTIONS, *POOLINGS, *IMAGE_ENDS)
_POOLED_BEHIND = 4
"""Convolutions a global pooling needs: before, a pixel sees too little of the image (chosen)."""
_MOST_DENSE = 2
"""Dense layers before the head, as many as VGG has (Simonyan & Zisserman 2015)."""


def may_follow(kind: str, layers: tuple[Layer, ...]) -> bool:
    """Tell whether a type of layer is worth writing behind these layers."""
    if not layers:
        return kind == "conv"
    if kind in POOLINGS:
        return [each.kind for each in layers if each.kind != "dropout"][-1] not in POOLINGS
    if kind == "dropout":
        last = [each.kind for each in layers if each.kind not in IMAGE_ENDS][-1]
        return layers[-1].kind in _DROPPED_BEHIND and last != "dropout"
    if kind == "globalpool":
        return sum(layer.kind in CONVOLUTIONS for layer in layers) >= _POOLED_BEHIND
    return kind != "dense" or sum(layer.kind == "dense" for layer in layers) < _MOST_DENSE


def fits_shape(kind: str, shape: Shape) -> bool:
    """Tell whether the type makes sense on this shape: nothing collapses, nothing is empty."""
    if kind == "dense":
        return len(shape) == 1
    if kind in _IMAGE_ONLY and len(shape) != 3:
        return False
    return kind not in POOLINGS or may_step(2, shape)


def may_step(stride: int, shape: Shape) -> bool:
    """Tell whether at least two pixels of each side are left behind a stride or a pooling."""
    return stride == 1 or min(shape[:2]) > stride
