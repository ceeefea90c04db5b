"""What a reader meets in a notebook cell: tables, figures, widgets, checks of claims."""
