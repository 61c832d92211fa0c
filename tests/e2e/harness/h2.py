"""
HTTP/2: a client that behaves, by Debian's python3-h2, and one that sends any frame it is told to.
Both read from the socket only while somebody waits for something.
"""

import ssl
import struct
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hpack
from h2.settings import SettingCodes
from hyperframe.frame import Frame, SettingsFrame

from .client import NAME, PROTOCOLS, dial_tls, hang_up
from .multiplex import Multiplexed, Stream, pseudo
from .util import DEADLINE_S
from .wire import Malformed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CONNECTION_WINDOW = 1 << 24  # so that a stream nobody reads does not stop the others
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, \
    FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = \
    range(12)


class Patient(h2.connection.H2Connection):
    """Goes on with its streams after GOAWAY, as RFC 9113 section 6.8 has it and the library has not."""

    def _receive_goaway_frame(self, frame):
        event = h2.events.ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]


def text(fields):
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]


def octets(fields):
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]


class H2Stream(Stream):
    number = None  # given when it begins


class H2Connection(Multiplexed):
    """One TCP connection with TLS. `window` is what the node may send of a body nobody has read, `total_window` of all."""

    version = "2"

    def __init__(self, port, name=NAME, receive_buffer_bytes=None, window=65535,
                 total_window=CONNECTION_WINDOW):
        super().__init__(port)
        self.sock = dial_tls(port, "h2", name, receive_buffer_bytes)
        assert self.sock.selected_alpn_protocol() == "h2", "the node does not want HTTP/2"
        self.streams = {}
        self.http = Patient(h2.config.H2Configuration(
            client_side=True, header_encoding=None, validate_outbound_headers=False,
            normalize_outbound_headers=False))
        self.http.local_settings = h2.settings.Settings(initial_values={
            SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.http.initiate_connection()
        if total_window > 65535:
            self.http.increment_flow_control_window(total_window - 65535)
        self.flush()

    # -- the wire

    def flush(self):
        data = self.http.data_to_send()
        try:
            if data and not self.gone:
                self.sock.sendall(data)
        except (ConnectionError, ssl.SSLError) as error:
            self.gone = self.gone or f"sending failed: {error}"

    def receive(self, patience_s):
        """Takes what comes next, or nothing within so long."""
        self.sock.settimeout(patience_s)
        try:
            data = self.sock.recv(65536)
        except (TimeoutError, ssl.SSLWantReadError, BlockingIOError):
            return False
        except (ConnectionError, ssl.SSLError):
            data = b""
        finally:
            self.sock.settimeout(DEADLINE_S)
        if data:
            self.take(data)
        else:
            self.gone = "the node has ended the connection"
        return True

    def take(self, data):
        try:
            events = self.http.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise Malformed(f"HTTP/2: {error!r}") from error
        for event in events:
            self.on(event)
        self.flush()

    def on(self, event):
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = (event.last_stream_id, event.error_code)
            return
        stream = self.streams.get(getattr(event, "stream_id", None))
        if not stream:
            return
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived,
                              h2.events.InformationalResponseReceived)):
            stream.arrived(text(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            stream.data += event.data
            stream.padding += event.flow_controlled_length - len(event.data)
        elif isinstance(event, h2.events.StreamEnded):
            stream.whole = True
        elif isinstance(event, h2.events.StreamReset) and not stream.whole:
            stream.code = event.error_code

    def wait(self, condition, patience_s=DEADLINE_S):
        """Until the condition holds or the connection is over."""
        end = self.deadline(patience_s)
        while not condition() and not self.gone:
            left = end - time.monotonic()
            if left <= 0 or not self.receive(left):
                raise TimeoutError("the node does not say what is waited for")

    def poll(self):
        while not self.gone and self.receive(0):
            pass

    # -- streams

    def new_stream(self):
        stream = H2Stream(self)
        stream.padding = 0
        return stream

    def send_head(self, stream, fields, end):
        stream.number = self.http.get_next_available_stream_id()
        self.streams[stream.number] = stream
        self.http.send_headers(stream.number, octets(fields), end_stream=end)
        self.flush()

    def send_body(self, stream, data, patience_s):
        view, taken = memoryview(data), 0
        while taken < len(view) and not stream.over():
            room = min(self.http.local_flow_control_window(stream.number),
                       self.http.max_outbound_frame_size, len(view) - taken)
            if room > 0:
                self.http.send_data(stream.number, bytes(view[taken:taken + room]))
                self.flush()
                taken += room
            elif not self.receive(patience_s):
                break
        return taken

    def send_end(self, stream, trailers):
        try:
            if trailers:
                self.http.send_headers(stream.number, octets(trailers), end_stream=True)
            else:
                self.http.end_stream(stream.number)
        except (h2.exceptions.StreamClosedError, KeyError):
            return  # the node has reset it: reading tells; what is over, the library forgets
        self.flush()

    def allow(self, stream, n):
        n, stream.padding = n + stream.padding, 0
        self.http.acknowledge_received_data(n, stream.number)
        self.flush()

    def cancel(self, stream, code=None):
        try:
            self.http.reset_stream(stream.number, CANCEL if code is None else code)
            self.flush()
        except h2.exceptions.StreamClosedError:
            pass  # over already
        stream.code = CANCEL

    # -- the end

    def close(self):
        self.gone = self.gone or "closed"
        self.sock.close()

    def abort(self):
        """Ends the connection by RST, without a word."""
        self.gone = self.gone or "aborted"
        hang_up(self.sock)


PROTOCOLS["h2"] = H2Connection


def frame(kind, flags=0, stream=0, payload=b""):
    """Any frame: what no library would send, too."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = \
    range(10)
PRIORITY_UPDATE = 16
END_STREAM = ACK = 1
END_HEADERS, PADDED, WITH_PRIORITY = 4, 8, 32


class RawH2:
    """Frames by hand. What the node says is read as frames; header sections are decoded."""

    def __init__(self, port, preface=PREFACE, settings=()):
        self.sock = dial_tls(port, "h2", NAME)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer = b""
        self.seen = []  # the frames that were passed over while waiting for another
        self.send(preface, frame(SETTINGS, payload=b"".join(struct.pack(">HI", *s) for s in settings)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, *frames):
        """Whether the node still takes it: it may have ended the connection for what came before."""
        try:
            self.sock.sendall(b"".join(frames))
            return True
        except (ConnectionError, ssl.SSLError):
            return False

    # -- what to send

    def section(self, fields):
        return self.encoder.encode(octets(fields), huffman=False)

    def headers(self, stream, fields, flags=END_STREAM | END_HEADERS):
        return frame(HEADERS, flags, stream, self.section(fields))

    def get(self, stream, target="/", headers=()):
        return self.headers(stream, pseudo("GET", target, headers))

    # -- what comes back

    def more(self, n):
        while len(self.buffer) < n:
            try:
                data = self.sock.recv(65536)
            except (ConnectionError, ssl.SSLError):
                data = b""
            if not data:
                return None
            self.buffer += data
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def frame(self):
        """The next frame, or None at the end of the connection; settings are acknowledged."""
        head = self.more(9)
        if head is None:
            return None
        parsed, length = Frame.parse_frame_header(memoryview(head))
        parsed.parse_body(memoryview(self.more(length) or b""))
        self.seen.append(parsed)
        if isinstance(parsed, SettingsFrame) and "ACK" not in parsed.flags:
            self.send(frame(SETTINGS, ACK))
        return parsed

    def until(self, *kinds, stream=None):
        """The next frame of these types (for this stream), or None where the connection ends first."""
        while (got := self.frame()) is not None:
            if got.type in kinds and stream in (None, got.stream_id):
                return got
        return None

    def outcome(self, stream):
        """
        What becomes of a request: ("response", status), ("reset", code) for its stream, or, for the
        connection, ("goaway", code) or ("end", None).
        """
        while (got := self.frame()) is not None:
            if got.type == HEADERS:
                status = dict(self.decoder.decode(got.data)).get(":status")  # sections keep the table in step
                if got.stream_id == stream and status:
                    return "response", int(status)
            elif got.type == RST_STREAM and got.stream_id == stream:
                return "reset", got.error_code
            elif got.type == GOAWAY:
                return "goaway", got.error_code
        return "end", None

    def ended(self):
        """Waits for the end of the connection; the code of its GOAWAY, None where it had none."""
        code = None
        while (got := self.frame()) is not None:
            code = got.error_code if got.type == GOAWAY else code
        return code
