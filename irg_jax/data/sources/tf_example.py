"""``tf.train.Example``, the form of a TFDS record, read by the protobuf library alone.

TFDS reads them too, but takes a second and 300 MB to import, which every worker process would pay.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "irg_jax.tf_example"  # of its own, beside TFDS's and TensorFlow's messages of the same form


def _message_class() -> Any:
    """Example{features: 1}, Features{map feature: 1}, Feature{bytes_list: 1}, BytesList{value: 1}."""
    file = descriptor_pb2.FileDescriptorProto(name="irg_jax/tf_example.proto", package=_PACKAGE, syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto

    def add(name: str, fields: list[tuple[str, int, int, str, bool]], nested: Any = None) -> Any:
        message = (nested or file).nested_type.add(name=name) if nested else file.message_type.add(name=name)
        for field, number, kind, type_name, repeated in fields:
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            message.field.add(name=field, number=number, type=kind, label=label, type_name=type_name or None)
        return message

    text, blob, message = kinds.TYPE_STRING, kinds.TYPE_BYTES, kinds.TYPE_MESSAGE
    add("BytesList", [("value", 1, blob, "", True)])
    add("Feature", [("bytes_list", 1, message, f".{_PACKAGE}.BytesList", False)])
    features = add("Features", [("feature", 1, message, f".{_PACKAGE}.Features.FeatureEntry", True)])
    entry = [("key", 1, text, "", False), ("value", 2, message, f".{_PACKAGE}.Feature", False)]
    add("FeatureEntry", entry, features).options.map_entry = True
    add("Example", [("features", 1, message, f".{_PACKAGE}.Features", False)])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


_Example = _message_class()


def parse(serialized: bytes) -> dict[str, bytes]:
    """The features with one value of bytes, by name; other features are left out.

    Raises:
      ValueError: not such a message.
    """
    try:
        example = _Example.FromString(serialized)
    except Exception as error:  # protobuf's DecodeError, whose place differs between versions
        raise ValueError(f"not a tf.train.Example: {error}") from error
    return {
        name: feature.bytes_list.value[0]
        for name, feature in example.features.feature.items()
        if len(feature.bytes_list.value) == 1
    }
