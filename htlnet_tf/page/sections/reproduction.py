"""How to get the same again."""

from __future__ import annotations

from htlnet_tf.page.blocks import Block, Code, Folded, Section, Text


def reproduction_section(command: str | None, again: str, config: str, label: str = "The configuration") -> Section:
    """The command that made it, one that makes it again, and the whole configuration.

    Args:
      command: As it was given; None: it was made from Python, or by a version that did not keep it.
      again: That makes the same from the folder's configuration.
      config: YAML.
      label: What the configuration is called.
    """
    blocks: list[Block] = []
    if command is not None:
        blocks.append(Code("The command that made it", command))
    blocks.append(Code("The same again, from the folder's own configuration", again))
    blocks.append(Text("Numbers are the same again with the same versions on the same kind of machine."))
    blocks.append(Folded(label, [Code("YAML, schema included", config)]))
    return Section("reproduction", "The same again", blocks)
