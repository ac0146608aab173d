"""What policies of one's own are written with."""

from portico.core.errors import Refusal
from portico.core.header_map import EditableHeaders, Headers, UpstreamHeaders
from portico.core.settings import Duration, HeaderName, Settings, Size
from portico.policies.head import Head
from portico.policies.head import ResponseEdit as ResponseHead
from portico.policies.plugins.base import Policy, RefusedError, Verdict, answer, refuse
from portico.policies.plugins.context import PluginContext as Context
from portico.policies.plugins.view import ExchangeView as Exchange
from portico.policies.plugins.whole import NoWholeError, refuse_incremental, whole
from portico.policies.policy import BodyFilter

__all__ = [
    "BodyFilter",
    "Context",
    "Duration",
    "EditableHeaders",
    "Exchange",
    "Head",
    "HeaderName",
    "Headers",
    "NoWholeError",
    "Policy",
    "Refusal",
    "RefusedError",
    "ResponseHead",
    "Settings",
    "Size",
    "UpstreamHeaders",
    "Verdict",
    "answer",
    "refuse",
    "refuse_incremental",
    "whole",
]
