"""The matrices that ship, as YAML."""
