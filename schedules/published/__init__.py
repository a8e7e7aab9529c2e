"""Tables that others published, as grids for flow models; each belongs to the model that it was searched on."""

from schedules.published.convert import PublishedGrid, published, published_table
from schedules.published.tables import PublishedError, PublishedTables, names, tables

__all__ = ["PublishedError", "PublishedGrid", "PublishedTables", "names", "published", "published_table", "tables"]
