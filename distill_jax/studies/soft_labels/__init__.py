# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is a label worth? Soft labels of experts for random real images, held to claims.

Students learn from a few random real images with labels of an expert: after which of
its epochs, how hot, of how many experts together, and with which entries left. One
file for each experiment; a claim is held against differences between units, which are
draws of images with an expert of their own.

Reference:
  Tian Qin, Zhiwei Deng, David Alvarez-Melis, "A Label is Worth a Thousand Images in
  Dataset Distillation", 2024.
"""

from distill_jax.studies.soft_labels.making import make

__all__ = ["make"]
