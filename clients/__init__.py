"""What runs in other people's processes; imports nothing of the service."""
