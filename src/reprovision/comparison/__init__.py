"""Is the new model really better? Two runs compared, or many ranked.

statistics    tests and intervals for two proportions
bootstrap     intervals for the other metrics
comparison    two runs with all their differences and a verdict
gate          limits that a comparison must keep
ranking       groups of runs by their mean over seeds
formatting, terminal, markdown, page, curves, ranking_table    the same for people
"""
