"""What is measured: functions that are called in a process of their own (see process.py).

They take and return what JSON can express. Imports and set-up are never part of a time.
"""
