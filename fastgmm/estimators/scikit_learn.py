"""What scikit-learn's tools ask of an estimator: tags, clones, metadata routing, HTML."""

from typing import Any, Self

from fastgmm import _sklearn
from fastgmm.estimators.base import Estimator


class ScikitLearnEstimator(Estimator):
    """Answers scikit-learn's questions without being one of its classes.

    Whoever asks has scikit-learn loaded.
    """

    _requests: dict[str, bool | str | None]
    """Method -> what ``sample_weight`` is routed to it as."""

    def __sklearn_tags__(self) -> Any:
        utils = _sklearn.loaded("sklearn.utils")
        return utils.Tags(
            estimator_type="density_estimator",
            target_tags=utils.TargetTags(required=False),
            input_tags=utils.InputTags(),
        )

    def __sklearn_clone__(self) -> Self:
        """Copy the parameters; carry callbacks, client and routing requests along."""
        clone = _sklearn.loaded("sklearn.base").clone
        new = type(self)(
            **{name: clone(value, safe=False) for name, value in self.get_params(False).items()}
        )
        for name in ("_skl_callbacks", "_client", "_requests"):
            if name in self.__dict__:
                setattr(new, name, self.__dict__[name])
        return new

    def get_metadata_routing(self) -> Any:
        """Return what metadata the methods take, as scikit-learn's ``MetadataRequest``."""
        routing = _sklearn.asked_for("sklearn.utils.metadata_routing")
        return self._routing(routing, getattr(self, "_requests", {}))

    def _routing(self, routing: Any, requests: dict[str, bool | str | None]) -> Any:
        request = routing.MetadataRequest(owner=type(self).__name__)
        for method in ("fit", "score"):
            alias = requests.get(method)
            getattr(request, method).add_request(param="sample_weight", alias=alias)
        return request

    def set_fit_request(self, *, sample_weight: bool | str | None = "$UNCHANGED$") -> Self:
        """Say whether meta-estimators hand ``sample_weight`` to ``fit`` (metadata routing).

        Parameters
        ----------
        sample_weight : bool, str or None
            True: handed over if given. False: never. None: giving it is an error. A name: what
            it is called in the meta-estimator's ``fit``.

        Raises
        ------
        RuntimeError
            Routing is off: ``sklearn.set_config(enable_metadata_routing=True)``.
        """
        return self._set_request("fit", sample_weight)

    def set_score_request(self, *, sample_weight: bool | str | None = "$UNCHANGED$") -> Self:
        """Say whether meta-estimators hand ``sample_weight`` to ``score``, as for ``fit``."""
        return self._set_request("score", sample_weight)

    def _set_request(self, method: str, alias: bool | str | None) -> Self:
        if not _sklearn.config("enable_metadata_routing"):
            raise RuntimeError(
                "This method is only available when metadata routing is enabled. You can enable "
                "it using sklearn.set_config(enable_metadata_routing=True)."
            )
        routing = _sklearn.loaded("sklearn.utils.metadata_routing")
        if alias != routing.UNCHANGED:
            requests = {**getattr(self, "_requests", {}), method: alias}
            self._routing(routing, requests)  # raises for what is no alias
            self._requests = requests
        return self

    @property
    def _repr_html_(self) -> Any:
        """A diagram in notebooks where scikit-learn is loaded, else text."""
        if _sklearn.config("display") != "diagram":
            raise AttributeError("_repr_html_ is only defined where scikit-learn shows diagrams")
        utils = _sklearn.loaded("sklearn.utils")
        return lambda: utils.estimator_html_repr(self)
