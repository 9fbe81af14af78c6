"""The engines that a campaign file can name."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Discriminator, Tag

from infra.engine import Engine
from infra.local.engine import LocalEngine, LocalSettings
from infra.openai_engine import OpenAIEngine, OpenAISettings

ENGINES: dict[str, type[BaseModel]] = {"openai": OpenAISettings, "local": LocalSettings}
"""`kind` in the campaign file, `openai` where it is absent."""


def _kind(given: Any) -> Any:
    return given.get("kind", "openai") if isinstance(given, dict) else getattr(given, "kind", None)


EngineSettings = Annotated[
    Annotated[OpenAISettings, Tag("openai")] | Annotated[LocalSettings, Tag("local")],
    Discriminator(_kind, custom_error_type="engine_kind", custom_error_message="Input should be 'openai' or 'local'"),
]


def with_absolute_folder(settings: OpenAISettings | LocalSettings, folder: Path) -> OpenAISettings | LocalSettings:
    """The settings as a file in a folder means them."""
    if isinstance(settings, LocalSettings):
        return settings.model_copy(update={"model": (folder / settings.model.expanduser()).resolve()})
    return settings


def make_engine(settings: OpenAISettings | LocalSettings) -> Engine:
    """The engine of some settings; nothing is loaded or connected yet."""
    return LocalEngine(settings) if isinstance(settings, LocalSettings) else OpenAIEngine(settings)
