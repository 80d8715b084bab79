from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATUS_UNSPECIFIED: _ClassVar[Status]
    STATUS_PORTED: _ClassVar[Status]
    STATUS_NOT_PORTED: _ClassVar[Status]
    STATUS_UNALLOCATED: _ClassVar[Status]
    STATUS_INVALID: _ClassVar[Status]
    STATUS_NOT_COVERED: _ClassVar[Status]
    STATUS_RANGE_ONLY: _ClassVar[Status]

class InvalidReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INVALID_REASON_UNSPECIFIED: _ClassVar[InvalidReason]
    INVALID_REASON_NOT_A_NUMBER: _ClassVar[InvalidReason]
    INVALID_REASON_TOO_SHORT: _ClassVar[InvalidReason]
    INVALID_REASON_TOO_LONG: _ClassVar[InvalidReason]
    INVALID_REASON_UNKNOWN_COUNTRY: _ClassVar[InvalidReason]
    INVALID_REASON_NO_DEFAULT_REGION: _ClassVar[InvalidReason]

class LineType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LINE_TYPE_UNSPECIFIED: _ClassVar[LineType]
    LINE_TYPE_MOBILE: _ClassVar[LineType]
    LINE_TYPE_FIXED: _ClassVar[LineType]
    LINE_TYPE_TOLL_FREE: _ClassVar[LineType]
    LINE_TYPE_SERVICE: _ClassVar[LineType]

class LayerName(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAYER_NAME_UNSPECIFIED: _ClassVar[LayerName]
    LAYER_NAME_OVERRIDE: _ClassVar[LayerName]
    LAYER_NAME_PORTED_RECORD: _ClassVar[LayerName]
    LAYER_NAME_RANGE: _ClassVar[LayerName]
    LAYER_NAME_NOTHING: _ClassVar[LayerName]
STATUS_UNSPECIFIED: Status
STATUS_PORTED: Status
STATUS_NOT_PORTED: Status
STATUS_UNALLOCATED: Status
STATUS_INVALID: Status
STATUS_NOT_COVERED: Status
STATUS_RANGE_ONLY: Status
INVALID_REASON_UNSPECIFIED: InvalidReason
INVALID_REASON_NOT_A_NUMBER: InvalidReason
INVALID_REASON_TOO_SHORT: InvalidReason
INVALID_REASON_TOO_LONG: InvalidReason
INVALID_REASON_UNKNOWN_COUNTRY: InvalidReason
INVALID_REASON_NO_DEFAULT_REGION: InvalidReason
LINE_TYPE_UNSPECIFIED: LineType
LINE_TYPE_MOBILE: LineType
LINE_TYPE_FIXED: LineType
LINE_TYPE_TOLL_FREE: LineType
LINE_TYPE_SERVICE: LineType
LAYER_NAME_UNSPECIFIED: LayerName
LAYER_NAME_OVERRIDE: LayerName
LAYER_NAME_PORTED_RECORD: LayerName
LAYER_NAME_RANGE: LayerName
LAYER_NAME_NOTHING: LayerName

class Operator(_message.Message):
    __slots__ = ("code", "name", "brand", "tax_number")
    CODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    BRAND_FIELD_NUMBER: _ClassVar[int]
    TAX_NUMBER_FIELD_NUMBER: _ClassVar[int]
    code: str
    name: str
    brand: str
    tax_number: str
    def __init__(self, code: _Optional[str] = ..., name: _Optional[str] = ..., brand: _Optional[str] = ..., tax_number: _Optional[str] = ...) -> None: ...

class Region(_message.Message):
    __slots__ = ("code", "name")
    CODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    code: str
    name: str
    def __init__(self, code: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("operator", "mcc", "mnc", "registry_mnc", "routing_number", "region", "line_type", "status", "overridden")
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    MCC_FIELD_NUMBER: _ClassVar[int]
    MNC_FIELD_NUMBER: _ClassVar[int]
    REGISTRY_MNC_FIELD_NUMBER: _ClassVar[int]
    ROUTING_NUMBER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    LINE_TYPE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OVERRIDDEN_FIELD_NUMBER: _ClassVar[int]
    operator: Operator
    mcc: str
    mnc: str
    registry_mnc: str
    routing_number: str
    region: Region
    line_type: LineType
    status: Status
    overridden: bool
    def __init__(self, operator: _Optional[_Union[Operator, _Mapping]] = ..., mcc: _Optional[str] = ..., mnc: _Optional[str] = ..., registry_mnc: _Optional[str] = ..., routing_number: _Optional[str] = ..., region: _Optional[_Union[Region, _Mapping]] = ..., line_type: _Optional[_Union[LineType, str]] = ..., status: _Optional[_Union[Status, str]] = ..., overridden: bool = ...) -> None: ...

class SnapshotRef(_message.Message):
    __slots__ = ("id", "as_of", "stale")
    ID_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    id: str
    as_of: _timestamp_pb2.Timestamp
    stale: bool
    def __init__(self, id: _Optional[str] = ..., as_of: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., stale: bool = ...) -> None: ...

class LookupRequest(_message.Message):
    __slots__ = ("numbers", "default_region", "as_of", "snapshot_id")
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_REGION_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    numbers: _containers.RepeatedScalarFieldContainer[str]
    default_region: str
    as_of: _timestamp_pb2.Timestamp
    snapshot_id: str
    def __init__(self, numbers: _Optional[_Iterable[str]] = ..., default_region: _Optional[str] = ..., as_of: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., snapshot_id: _Optional[str] = ...) -> None: ...

class LookupAnswer(_message.Message):
    __slots__ = ("input", "number", "status", "invalid_reason", "route", "ported_at", "range_holder")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    INVALID_REASON_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    PORTED_AT_FIELD_NUMBER: _ClassVar[int]
    RANGE_HOLDER_FIELD_NUMBER: _ClassVar[int]
    input: str
    number: int
    status: Status
    invalid_reason: InvalidReason
    route: Route
    ported_at: _timestamp_pb2.Timestamp
    range_holder: Operator
    def __init__(self, input: _Optional[str] = ..., number: _Optional[int] = ..., status: _Optional[_Union[Status, str]] = ..., invalid_reason: _Optional[_Union[InvalidReason, str]] = ..., route: _Optional[_Union[Route, _Mapping]] = ..., ported_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., range_holder: _Optional[_Union[Operator, _Mapping]] = ...) -> None: ...

class LookupResponse(_message.Message):
    __slots__ = ("answers", "snapshot")
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    answers: _containers.RepeatedCompositeFieldContainer[LookupAnswer]
    snapshot: SnapshotRef
    def __init__(self, answers: _Optional[_Iterable[_Union[LookupAnswer, _Mapping]]] = ..., snapshot: _Optional[_Union[SnapshotRef, _Mapping]] = ...) -> None: ...

class BulkLookupRequest(_message.Message):
    __slots__ = ("numbers", "with_range_holder", "with_ported_at", "snapshot_id")
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    WITH_RANGE_HOLDER_FIELD_NUMBER: _ClassVar[int]
    WITH_PORTED_AT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    numbers: _containers.RepeatedScalarFieldContainer[int]
    with_range_holder: bool
    with_ported_at: bool
    snapshot_id: str
    def __init__(self, numbers: _Optional[_Iterable[int]] = ..., with_range_holder: bool = ..., with_ported_at: bool = ..., snapshot_id: _Optional[str] = ...) -> None: ...

class BulkLookupResponse(_message.Message):
    __slots__ = ("route_indexes", "routes", "snapshot", "range_holder_indexes", "range_holders", "ported_at")
    ROUTE_INDEXES_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    RANGE_HOLDER_INDEXES_FIELD_NUMBER: _ClassVar[int]
    RANGE_HOLDERS_FIELD_NUMBER: _ClassVar[int]
    PORTED_AT_FIELD_NUMBER: _ClassVar[int]
    route_indexes: _containers.RepeatedScalarFieldContainer[int]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    snapshot: SnapshotRef
    range_holder_indexes: _containers.RepeatedScalarFieldContainer[int]
    range_holders: _containers.RepeatedCompositeFieldContainer[Operator]
    ported_at: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, route_indexes: _Optional[_Iterable[int]] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., snapshot: _Optional[_Union[SnapshotRef, _Mapping]] = ..., range_holder_indexes: _Optional[_Iterable[int]] = ..., range_holders: _Optional[_Iterable[_Union[Operator, _Mapping]]] = ..., ported_at: _Optional[_Iterable[int]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("number", "default_region", "as_of")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_REGION_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    number: str
    default_region: str
    as_of: _timestamp_pb2.Timestamp
    def __init__(self, number: _Optional[str] = ..., default_region: _Optional[str] = ..., as_of: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Override(_message.Message):
    __slots__ = ("reason", "author", "expires_at")
    REASON_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    reason: str
    author: str
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, reason: _Optional[str] = ..., author: _Optional[str] = ..., expires_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Layer(_message.Message):
    __slots__ = ("name", "decides", "route", "sources", "first", "last", "ported_at", "donor", "override")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DECIDES_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    PORTED_AT_FIELD_NUMBER: _ClassVar[int]
    DONOR_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_FIELD_NUMBER: _ClassVar[int]
    name: LayerName
    decides: bool
    route: Route
    sources: _containers.RepeatedCompositeFieldContainer[Source]
    first: int
    last: int
    ported_at: _timestamp_pb2.Timestamp
    donor: Operator
    override: Override
    def __init__(self, name: _Optional[_Union[LayerName, str]] = ..., decides: bool = ..., route: _Optional[_Union[Route, _Mapping]] = ..., sources: _Optional[_Iterable[_Union[Source, _Mapping]]] = ..., first: _Optional[int] = ..., last: _Optional[int] = ..., ported_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., donor: _Optional[_Union[Operator, _Mapping]] = ..., override: _Optional[_Union[Override, _Mapping]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("input", "number", "status", "invalid_reason", "decided_by", "route", "layers", "snapshot")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    INVALID_REASON_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    input: str
    number: int
    status: Status
    invalid_reason: InvalidReason
    decided_by: LayerName
    route: Route
    layers: _containers.RepeatedCompositeFieldContainer[Layer]
    snapshot: SnapshotRef
    def __init__(self, input: _Optional[str] = ..., number: _Optional[int] = ..., status: _Optional[_Union[Status, str]] = ..., invalid_reason: _Optional[_Union[InvalidReason, str]] = ..., decided_by: _Optional[_Union[LayerName, str]] = ..., route: _Optional[_Union[Route, _Mapping]] = ..., layers: _Optional[_Iterable[_Union[Layer, _Mapping]]] = ..., snapshot: _Optional[_Union[SnapshotRef, _Mapping]] = ...) -> None: ...

class GetSnapshotRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Source(_message.Message):
    __slots__ = ("name", "registry", "kind", "sequence", "rows", "sha256", "layer")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REGISTRY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    name: str
    registry: str
    kind: str
    sequence: int
    rows: int
    sha256: str
    layer: str
    def __init__(self, name: _Optional[str] = ..., registry: _Optional[str] = ..., kind: _Optional[str] = ..., sequence: _Optional[int] = ..., rows: _Optional[int] = ..., sha256: _Optional[str] = ..., layer: _Optional[str] = ...) -> None: ...

class GetSnapshotResponse(_message.Message):
    __slots__ = ("snapshot", "built_at", "age_seconds", "format_version", "sources", "counts", "changes", "preferred_numbers_per_call", "coverage")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    BUILT_AT_FIELD_NUMBER: _ClassVar[int]
    AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_NUMBERS_PER_CALL_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    snapshot: SnapshotRef
    built_at: _timestamp_pb2.Timestamp
    age_seconds: float
    format_version: int
    sources: _containers.RepeatedCompositeFieldContainer[Source]
    counts: _containers.ScalarMap[str, int]
    changes: SnapshotChanges
    preferred_numbers_per_call: int
    coverage: _containers.RepeatedCompositeFieldContainer[Coverage]
    def __init__(self, snapshot: _Optional[_Union[SnapshotRef, _Mapping]] = ..., built_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., age_seconds: _Optional[float] = ..., format_version: _Optional[int] = ..., sources: _Optional[_Iterable[_Union[Source, _Mapping]]] = ..., counts: _Optional[_Mapping[str, int]] = ..., changes: _Optional[_Union[SnapshotChanges, _Mapping]] = ..., preferred_numbers_per_call: _Optional[int] = ..., coverage: _Optional[_Iterable[_Union[Coverage, _Mapping]]] = ...) -> None: ...

class Coverage(_message.Message):
    __slots__ = ("first", "last", "ported")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    PORTED_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    ported: bool
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ..., ported: bool = ...) -> None: ...

class SnapshotChanges(_message.Message):
    __slots__ = ("against", "ported", "returned", "moved", "updated")
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    PORTED_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    against: str
    ported: int
    returned: int
    moved: int
    updated: int
    def __init__(self, against: _Optional[str] = ..., ported: _Optional[int] = ..., returned: _Optional[int] = ..., moved: _Optional[int] = ..., updated: _Optional[int] = ...) -> None: ...

class WatchSnapshotsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchSnapshotsResponse(_message.Message):
    __slots__ = ("snapshot", "built_at", "counts", "changes")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    BUILT_AT_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    snapshot: SnapshotRef
    built_at: _timestamp_pb2.Timestamp
    counts: _containers.ScalarMap[str, int]
    changes: SnapshotChanges
    def __init__(self, snapshot: _Optional[_Union[SnapshotRef, _Mapping]] = ..., built_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., counts: _Optional[_Mapping[str, int]] = ..., changes: _Optional[_Union[SnapshotChanges, _Mapping]] = ...) -> None: ...

class ListOperatorsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Network(_message.Message):
    __slots__ = ("mcc", "mnc")
    MCC_FIELD_NUMBER: _ClassVar[int]
    MNC_FIELD_NUMBER: _ClassVar[int]
    mcc: str
    mnc: str
    def __init__(self, mcc: _Optional[str] = ..., mnc: _Optional[str] = ...) -> None: ...

class OperatorEntry(_message.Message):
    __slots__ = ("operator", "networks", "serves_ported_numbers", "holds_ranges")
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    NETWORKS_FIELD_NUMBER: _ClassVar[int]
    SERVES_PORTED_NUMBERS_FIELD_NUMBER: _ClassVar[int]
    HOLDS_RANGES_FIELD_NUMBER: _ClassVar[int]
    operator: Operator
    networks: _containers.RepeatedCompositeFieldContainer[Network]
    serves_ported_numbers: bool
    holds_ranges: bool
    def __init__(self, operator: _Optional[_Union[Operator, _Mapping]] = ..., networks: _Optional[_Iterable[_Union[Network, _Mapping]]] = ..., serves_ported_numbers: bool = ..., holds_ranges: bool = ...) -> None: ...

class ListOperatorsResponse(_message.Message):
    __slots__ = ("operators", "snapshot")
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    operators: _containers.RepeatedCompositeFieldContainer[OperatorEntry]
    snapshot: SnapshotRef
    def __init__(self, operators: _Optional[_Iterable[_Union[OperatorEntry, _Mapping]]] = ..., snapshot: _Optional[_Union[SnapshotRef, _Mapping]] = ...) -> None: ...
