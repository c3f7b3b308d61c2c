"""An exported model that answers, without torch."""
