"""Prefect flows: thin doors to the stages. They run from a checkout or an image and are not in the wheel."""
