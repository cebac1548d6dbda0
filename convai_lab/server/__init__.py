"""The local platform: an Agents API that the vendor's own clients work against."""
