"""JSON edited as text: what an edit does not name stays byte for byte as it was written."""

from portico.core.json_text.edit import JsonEdit as JsonEdit
from portico.core.json_text.errors import JsonEditError as JsonEditError
from portico.core.json_text.form import form_to_json as form_to_json
from portico.core.json_text.merging import MergeValue as MergeValue
from portico.core.json_text.values import Value as Value
from portico.core.json_text.values import json_value as json_value
