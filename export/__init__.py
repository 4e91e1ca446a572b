"""A trained model -> a versioned, verified servable."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "publish": ["ExportedVersion", "export_model", "model_directory"],
        "verify": ["VerificationError"],
        "servable": ["Servable"],
    },
)

del lazy_loader
