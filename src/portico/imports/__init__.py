"""Other systems' configurations as Portico's."""

from portico.imports.draft import Draft, Part, Variable
from portico.imports.importers import IMPORTERS, Importer
from portico.imports.loading import Imported, finished
from portico.imports.remarks import Kind, Remark, SourceError, Where

__all__ = [
    "IMPORTERS",
    "Draft",
    "Imported",
    "Importer",
    "Kind",
    "Part",
    "Remark",
    "SourceError",
    "Variable",
    "Where",
    "finished",
]
