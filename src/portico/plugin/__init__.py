"""What policies of one's own are written with."""

from portico.core.header_map import EditableHeaders, Headers, UpstreamHeaders
from portico.core.settings import Settings
from portico.policies.head import Head
from portico.policies.head import ResponseEdit as ResponseHead
from portico.policies.plugins.base import Policy, Verdict, answer, refuse
from portico.policies.plugins.context import PluginContext as Context
from portico.policies.plugins.view import ExchangeView as Exchange
from portico.policies.policy import BodyFilter

__all__ = [
    "BodyFilter",
    "Context",
    "EditableHeaders",
    "Exchange",
    "Head",
    "Headers",
    "Policy",
    "ResponseHead",
    "Settings",
    "UpstreamHeaders",
    "Verdict",
    "answer",
    "refuse",
]
