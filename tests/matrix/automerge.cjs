// Automerge, driven by one line of JSON: {folder, scenarios: [{outline, edits}], orders}; prints all outcomes.
// Blocks are objects in nested lists, each with a text and a list of blocks. Automerge moves nothing, so a move deletes
// the block and inserts a copy. Split and merge copy the text that changes its block.
const { readFileSync } = require("node:fs");

const { folder, scenarios, orders } = JSON.parse(readFileSync(0, "utf8"));
const A = require(`${folder}/node_modules/@automerge/automerge`);

const block = ([text, below]) => ({ text, below: below.map(block) });
const read = (blocks) => blocks.map(({ text, below }) => [String(text), read(below)]);

/** The path of the list that a block is in, and where in it. */
function find(blocks, letter, path = ["blocks"]) {
  for (let at = 0; at < blocks.length; at++) {
    if (String(blocks[at].text).startsWith(letter)) return { list: blocks, path, at };
    const found = find(blocks[at].below, letter, [...path, at, "below"]);
    if (found) return found;
  }
  return null;
}

function edit(doc, { do: what, block: letter, at: index, text, after, into }) {
  const { list, path, at } = find(doc.blocks, letter);
  const was = String(list[at].text);
  switch (what) {
    case "type":
      return A.splice(doc, [...path, at, "text"], index, 0, text);
    case "split":
      A.splice(doc, [...path, at, "text"], index, was.length - index);
      return list.splice(at + 1, 0, block([was.slice(index), []]));
    case "merge":
      A.splice(doc, [...path, at - 1, "text"], String(list[at - 1].text).length, 0, was);
      return list.splice(at, 1);
    case "delete":
      return list.splice(at, 1);
    case "move": {
      const [copy] = read([list[at]]);
      list.splice(at, 1);
      const target = find(doc.blocks, after ?? into);
      if (after) target.list.splice(target.at + 1, 0, block(copy));
      else target.list[target.at].below.push(block(copy));
    }
  }
}

function outcome({ outline, edits }, isLastFirst) {
  const first = A.from({ blocks: outline.map(block) }, { actor: "01" });
  const actors = edits.map((_, i) => (isLastFirst ? `1${edits.length - i}` : `1${i}`));
  const docs = edits.map((each, i) => A.change(A.clone(first, { actor: actors[i] }), (doc) => void edit(doc, each)));
  const merged = docs.map((doc) => docs.reduce((all, other) => A.merge(all, A.clone(other)), A.clone(doc)));
  const outlines = merged.map((doc) => JSON.stringify(read(doc.blocks)));
  if (new Set(outlines).size !== 1) throw new Error(`they differ: ${outlines}`);
  return JSON.parse(outlines[0]);
}

console.log(JSON.stringify(scenarios.map((scenario) => orders.map((order) => outcome(scenario, order)))));
