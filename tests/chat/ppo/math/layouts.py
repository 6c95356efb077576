"""Rows of different lengths with padding on either side, of any width, with garbage in it."""

import torch

LENGTHS = (7, 1, 4, 9, 2)  # the longest fills the width where no columns are added


def lay_out(rows, side="right", extra=0, fill=float("nan")):
    """[B, longest + extra] from rows of different lengths, and its mask."""
    width = max(map(len, rows)) + extra
    tensor = torch.full((len(rows), width), fill, dtype=rows[0].dtype)
    mask = torch.zeros(tensor.shape, dtype=torch.bool)
    for i, row in enumerate(rows):
        at = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        tensor[i, at], mask[i, at] = row, True
    return tensor, mask
