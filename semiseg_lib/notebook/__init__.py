"""Tables, figures, widgets and checks of claims for notebooks."""
