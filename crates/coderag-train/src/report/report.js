(function () {
  "use strict";
  const svgElement = name => document.createElementNS("http://www.w3.org/2000/svg", name);
  const numbers = text => text.trim().split(/[\s,]+/).map(Number);
  const readable = value => String(Number(value.toPrecision(3)));
  for (const svg of document.querySelectorAll(".chart svg")) {
    const [left, top, width, height] = numbers(svg.dataset.plot);
    const [firstStep, lastStep] = numbers(svg.dataset.x);
    const [low, high] = numbers(svg.dataset.y);
    const lines = Array.from(svg.querySelectorAll("polyline"), line => {
      const values = numbers(line.getAttribute("points"));
      const points = [];
      for (let at = 0; values.length > at + 1; at += 2) points.push([values[at], values[at + 1]]);
      return { name: line.dataset.name, points };
    }).filter(line => line.points.length > 0);
    if (lines.length === 0) continue;
    const cursor = svgElement("line");
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("y1", top);
    cursor.setAttribute("y2", top + height);
    const values = svgElement("text");
    values.setAttribute("class", "values");
    values.setAttribute("y", top + 12);
    const group = svgElement("g");
    group.setAttribute("visibility", "hidden");
    group.append(cursor, values);
    svg.append(group);
    const nearest = (points, x) =>
      points.reduce((best, point) => (Math.abs(best[0] - x) > Math.abs(point[0] - x) ? point : best));
    svg.addEventListener("pointermove", event => {
      const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
      const at = nearest(lines[0].points, x)[0];
      const step = Math.round(firstStep + ((at - left) / width) * (lastStep - firstStep));
      const texts = [["step " + step.toLocaleString("en")]];
      for (const line of lines) {
        const y = nearest(line.points, at)[1];
        texts.push([line.name + " " + readable(low + ((top + height - y) / height) * (high - low))]);
      }
      cursor.setAttribute("x1", at);
      cursor.setAttribute("x2", at);
      const isRight = at > left + width / 2;
      values.setAttribute("text-anchor", isRight ? "end" : "start");
      values.replaceChildren(
        ...texts.map((text, index) => {
          const row = svgElement("tspan");
          row.setAttribute("x", at + (isRight ? -6 : 6));
          row.setAttribute("dy", index === 0 ? 0 : 15);
          row.textContent = text;
          return row;
        })
      );
      group.setAttribute("visibility", "visible");
    });
    svg.addEventListener("pointerleave", () => group.setAttribute("visibility", "hidden"));
  }
})();
