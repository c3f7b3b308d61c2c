"""A registered model for the service, and the version that its alias names now."""

from dataclasses import dataclass
from tempfile import TemporaryDirectory

from reprovision.core.errors import UserError
from reprovision.core.params import Params
from reprovision.service.models import Loaded
from reprovision.serving.predictor import Predictor
from reprovision.tracking.models import fetch_model
from reprovision.tracking.store import TRY_AGAIN, open_store


@dataclass(frozen=True)
class RegisteredModels:
    """Versions of a model in MLflow's registry.

    Attributes:
        uri: `models:/NAME@ALIAS`, which may name another version later, or `models:/NAME/VERSION`.
    """

    params: Params
    uri: str

    @property
    def name(self) -> str:
        """Of the registered model."""
        return self.uri.removeprefix("models:/").partition("@")[0].partition("/")[0]

    def latest(self) -> str:
        """The number of the version that the address names now.

        Raises:
            UserError: MLflow can't be asked, or has no such version.
        """
        _, has_alias, alias = self.uri.partition("@")
        if not has_alias:
            return self.uri.rpartition("/")[2]
        experiment = self.params.track.experiment
        with open_store(experiment, "serve", TRY_AGAIN) as store:
            return str(store.client.get_model_version_by_alias(self.name, alias).version)

    def load(self, version: str) -> Loaded:
        """Downloads a version and loads it.

        Raises:
            UserError: MLflow can't be used, or it is not an exported model.
        """
        uri = f"models:/{self.name}/{version}" if "@" in self.uri else self.uri
        with TemporaryDirectory() as folder:
            experiment = self.params.track.experiment
            with open_store(experiment, "serve", TRY_AGAIN):
                found = fetch_model(uri, folder)
            try:
                return Loaded(self.name, version, Predictor(found))
            # where it was downloaded to differs each time, and tells nobody anything
            except UserError as error:
                raise UserError(str(error).replace(str(found), uri)) from error
