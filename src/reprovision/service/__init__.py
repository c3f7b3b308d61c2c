"""An exported model behind HTTP: an API, metrics and a page to try it."""
