"""The overload manager: main looks at resources and decides, workers do what has to be done."""
