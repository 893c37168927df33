"""What the export and tokenising scripts share."""
