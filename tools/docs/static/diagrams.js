// Draws the diagrams of a page with Mermaid, which lies beside this file. A page that was opened as a file may load no
// modules: there the text of the diagram stays.
const mermaidFolder = new URL("mermaid/", document.currentScript.src);

async function drawDiagrams() {
  const blocks = document.querySelectorAll("pre.diagram");
  if (!blocks.length || location.protocol === "file:") return;
  const { mermaid } = await import(new URL("index.js", mermaidFolder).href);
  mermaid.initialize({ startOnLoad: false, theme: "neutral" });
  let number = 0;
  for (const block of blocks) {
    const { svg } = await mermaid.render(`diagram-${number++}`, block.textContent);
    const figure = document.createElement("div");
    figure.className = "diagram";
    figure.innerHTML = svg;
    block.replaceWith(figure);
  }
}

document.addEventListener("DOMContentLoaded", drawDiagrams);
