"""Is the new model really better? Two runs compared, or many ranked.

statistics    tests and intervals for two proportions
bootstrap     intervals for the other metrics
pairing       which images of two test sets are the same
comparison    two runs with all their differences and a verdict
notes         what a reader should know beside the numbers
gate          limits that a comparison must keep
ranking       groups of runs by their mean over seeds
formatting, terminal, markdown, page, curves, ranking_table    the same for people
"""
