"""How good motions are: metrics, the evaluator that they need, and a checkpoint over a split."""
