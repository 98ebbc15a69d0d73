from __future__ import annotations

import socket

import pytest

from lsl_core.errors import UserInput
from lsl_core.services import demo


def test_a_port_that_another_program_uses_is_one_line_with_a_next_step(tmp_path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserInput, match=f"Port {port} .* is in use") as caught:
            demo.run_demo(tmp_path, port=port)
    assert "try again" in caught.value.hint
