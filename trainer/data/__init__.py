"""Corpora and how they become batches."""
