"""One self-contained HTML page about a run or a comparison: facts in, a document out.

Facts are plain values (`facts`), sections arrange them as blocks (`blocks`), pictures are SVG whose coordinates are
computed here (`charts`), and the templates write and escape them. The page loads nothing: style and script are inline,
letters are the reader's own, and it reads without the script too.
"""
