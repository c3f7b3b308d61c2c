"""Two revisions of the results compared: is the new model really better?

revisions     a Git revision, a DVC experiment or the workspace as a folder of files
results       what lies in such a folder: params, dataset, predictions, training history
statistics    tests and intervals for two proportions
resampling    bootstrap intervals for the other figures
comparison    all of it put together, with a verdict
gate          limits that a comparison must keep
wording, terminal, markdown, page    the same comparison for people
"""
