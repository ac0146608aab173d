"""Documents of services (OpenAPI): read, judged and merged. No file and no network is touched here."""

from portico.openapi.document import Document, DocumentError, pointed_at, read_document, reading_document

__all__ = ["Document", "DocumentError", "pointed_at", "read_document", "reading_document"]
