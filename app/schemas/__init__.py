"""What goes over HTTP: strict requests without unknown fields, and answers."""
