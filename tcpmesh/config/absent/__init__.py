"""Extensions of Envoy's that are not there: which never will be, and which can be done without."""
