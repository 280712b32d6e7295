"""Losses: functions of tensors and masks."""
