"""shapes-64, the embedded model: its language, its pictures, its recogniser and its training."""
