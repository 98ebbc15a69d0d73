import pytest
from starlette.testclient import TestClient

from lsl_core.serve.access import Access
from lsl_core.serve.app import Limits, Service
from lsl_core.serve.detector import Detector
from lsl_core.serve.gateway import names_of
from lsl_core.serve.shelf import Live, Shelf
from lsl_core.services.serving.offers import Offer
from lsl_core.types import Mode
from lsl_core.workspace import Workspace

from .fakes import BrightModel, looks


class Served:
    """A service of fake models, asked without a socket."""

    def __init__(self, workspace, limits, access):
        self.shelf = Shelf(workspace, max_pixels=10**6)
        self.service = Service(self.shelf, limits, access)
        self.models = {}

    def offer(self, name, model=None, selector=None, **offer):
        model = model or BrightModel(id=f"{name}-v1", name=name)
        detector = Detector(model, looks(model, max_pixels=10**6))
        live = Live(Offer(name, **offer), detector, since=1.0, selector=selector)
        self.shelf._live[live.offer.name] = live
        self.models[name] = model
        for function in names_of(live):
            self.service.ports[function] = 8071 + len(self.service.ports)
        return model

    def client(self, port=8070, who="127.0.0.1"):
        return TestClient(
            self.service.app(), f"http://gateway:{port}", client=(who, 5000),
            raise_server_exceptions=False,
        )  # fmt: skip


@pytest.fixture
def serve(tmp_path):
    made = []

    def make(limits=None, access=None):
        workspace = Workspace.create(tmp_path / f"w{len(made)}", mode=Mode.FSIS)
        made.append(Served(workspace, limits or Limits(), access or Access()))
        return made[-1]

    yield make
    for served in made:
        for model in served.models.values():
            model.may_go.set()
        served.shelf.close()
