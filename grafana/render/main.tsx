// Draws a board's JSON with Grafana's own published components and the data of a real Prometheus, without a Grafana.
// The page that includes it sets `window.scene`; it sets `window.drawn`, what each panel showed, when it is done.
import React, { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { lastValueFrom, of } from 'rxjs';
import {
  applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime, FieldType, standardFieldConfigEditorRegistry, standardTransformers,
  standardTransformersRegistry, ThemeContext, toDataFrame, transformDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

const { board, prometheus, from, to, mode, instance, window: rateInterval } = (window as any).scene;
const theme = createTheme({ colors: { mode } });
const RANGE: any = { from: dateTime(from * 1000), to: dateTime(to * 1000), raw: { from: '', to: '' } };
const WIDTH = 1500, CELL = 30, GAP = 8;

// What Grafana's core knows of fields; each is taken as it is written.
const known = ['unit', 'decimals', 'mappings', 'thresholds', 'color', 'noValue', 'links', 'displayName', 'min', 'max'];
const custom = ['stacking', 'fillOpacity', 'lineStyle', 'lineWidth', 'drawStyle', 'showPoints', 'axisSoftMin', 'cellOptions',
  'minWidth', 'width'];
const item = (path: string, isCustom: boolean): any => ({
  id: isCustom ? `custom.${path}` : path, path, isCustom, name: path, settings: {}, process: (value: any) => value,
  shouldApply: () => true,
});
standardFieldConfigEditorRegistry.setInit(() => [...known.map((p) => item(p, false)), ...custom.map((p) => item(p, true))]);
standardTransformersRegistry.setInit(() =>
  ['merge', 'filterFieldsByName', 'organize'].map((id) => {
    const transformation = Object.values(standardTransformers).find((one: any) => one.id === id);
    return { id, name: id, transformation: () => transformation, editor: () => null } as any;
  })
);

const filled = (text: string) =>
  text.replace(/\$(\w+)/g, (_, name) =>
    ({ job: '.+', instance, price: '0.30', __rate_interval: rateInterval, __range: `${to - from}s` } as any)[name] ?? '.+');

async function ask(target: any) {
  const what = target.instant ? { time: to } : { start: from, end: to, step: Math.max((to - from) / 240, 15) };
  const given = Object.entries({ query: filled(target.expr), ...what }).map(([k, v]) => [k, String(v)]);
  const url = `${prometheus}/api/v1/query${target.instant ? '' : '_range'}`;
  const answer = await (await fetch(url, { method: 'POST', body: new URLSearchParams(given) })).json();
  if (answer.status !== 'success') throw new Error(answer.error);
  return answer.data.result as any[];
}

function seriesFrames(target: any, result: any[]) {
  return result.map((series) => {
    const name = (target.legendFormat ?? '').replace(/{{\s*(\w+)\s*}}/g, (_: string, key: string) => series.metric[key] ?? '');
    const points = series.values ?? [series.value];
    return toDataFrame({ refId: target.refId, fields: [
      { name: 'Time', type: FieldType.time, values: points.map((p: any) => p[0] * 1000), config: {} },
      { name: 'Value', type: FieldType.number, values: points.map((p: any) => Number(p[1])), labels: series.metric,
        config: { displayNameFromDS: name || JSON.stringify(series.metric) } },
    ] });
  });
}

function tableFrame(target: any, result: any[], alone: boolean) {
  const labels = [...new Set(result.flatMap((row) => Object.keys(row.metric)))].sort();
  return toDataFrame({ refId: target.refId, fields: [
    { name: 'Time', type: FieldType.time, values: result.map((row) => row.value[0] * 1000), config: {} },
    ...labels.map((name) => ({ name, type: FieldType.string, values: result.map((row) => row.metric[name] ?? ''), config: {} })),
    { name: alone ? 'Value' : `Value #${target.refId}`, type: FieldType.number, config: {},
      values: result.map((row) => Number(row.value[1])) },
  ] });
}

async function load(panel: any) {
  let frames: any[] = [];
  for (const target of panel.targets) {
    const result = await ask(target);
    if (panel.type !== 'table') frames = frames.concat(seriesFrames(target, result));
    else if (result.length) frames.push(tableFrame(target, result, panel.targets.length === 1));
  }
  if (panel.transformations) {
    const context: any = { interpolate: (text: string) => text };
    frames = await lastValueFrom(transformDataFrame(panel.transformations, frames, context) as any) as any[];
  }
  const defaults = structuredClone(panel.fieldConfig.defaults);
  if (defaults.thresholds) defaults.thresholds.steps[0].value = -Infinity;
  const done = applyFieldOverrides({
    data: frames, fieldConfig: { defaults, overrides: panel.fieldConfig.overrides } as any, theme, timeZone: 'utc',
    replaceVariables: (text: string) => text,
  });
  if (panel.type === 'table') cacheFieldDisplayNames(done);
  return done;
}

const latest = (frame: any) => { const { values } = frame.fields[1]; return values[values.length - 1]; };

function Stat({ panel, data, width, height }: any) {
  const { textMode, colorMode, orientation } = panel.options;
  const stacked = orientation === 'horizontal', size = [width, height].map((all, i) => all / (stacked === (i === 1) ? data.length : 1));
  const shown = textMode === 'auto' ? (data.length > 1 ? 'value_and_name' : 'value') : textMode;
  return <div style={{ display: 'flex', flexDirection: stacked ? 'column' : 'row' }}>{data.map((frame: any, i: number) => {
    const field = frame.fields[1], value = { ...field.display(latest(frame)), title: field.config.displayNameFromDS };
    return <BigValue key={i} value={value} width={size[0]} height={size[1]} theme={theme} textMode={shown}
      colorMode={colorMode} graphMode={'none' as any} justifyMode={'center' as any} />;
  })}</div>;
}

// Grafana's package has no state timeline: this one is drawn here, in the colours that the board gives to the states.
function Timeline({ data, width, height }: any) {
  const name = Math.min(220, width / 2.3), row = Math.min((height - 4) / data.length, 28), wide = width - name;
  return <svg width={width} height={height}>{data.map((frame: any, i: number) => {
    const [times, field] = frame.fields, step = (times.values[1] ?? times.values[0]) - times.values[0];
    const until = (n: number): number => field.values[n + 1] === field.values[n] ? until(n + 1) : times.values[n] + step;
    const x = (time: number) => name + (wide * (time / 1000 - from)) / (to - from);
    return <g key={i}>
      <text x={name - 8} y={row * (i + 0.62)} textAnchor="end" fontSize={12} fill={theme.colors.text.primary}>
        {field.config.displayNameFromDS}</text>
      {times.values.map((time: number, n: number) => field.values[n] === field.values[n - 1] ? null :
        <rect key={n} x={x(time)} y={row * i + 2} width={Math.max(x(until(n)) - x(time), 1)} height={row - 4}
          fill={field.display(field.values[n]).color} />)}
    </g>;
  })}</svg>;
}

function Body({ panel, data, width, height }: any) {
  const full = data.filter((frame: any) => frame.length);
  if (!full.length) return <div style={{ padding: 8, color: theme.colors.text.secondary }}>{panel.fieldConfig.defaults.noValue}</div>;
  if (panel.type === 'timeseries')
    return <TimeSeries frames={full} timeRange={RANGE} timeZone="utc" width={width} height={height} legend={panel.options.legend} />;
  if (panel.type === 'stat') return <Stat panel={panel} data={full} width={width} height={height} />;
  if (panel.type === 'state-timeline') return <Timeline data={full} width={width} height={height} />;
  return <TableNG data={full[0]} width={width} height={height} cellHeight={'sm' as any} timeRange={RANGE} />;
}

function Panel({ panel, data, error }: any) {
  const { x, y, w, h } = panel.gridPos, column = WIDTH / 24;
  const place: any = { position: 'absolute', left: x * column + GAP / 2, top: y * (CELL + GAP) };
  if (panel.type === 'row') return <div style={{ ...place, padding: 6, fontWeight: 500 }}>⌄ {panel.title}</div>;
  return <div style={place}>
    <PanelChrome title={panel.title} description={panel.description} width={w * column - GAP} height={h * (CELL + GAP) - GAP}>
      {(width: number, height: number) => error ? <div>{error}</div> : <Body panel={panel} data={data} width={width} height={height} />}
    </PanelChrome></div>;
}

function Board() {
  const [panels, setPanels] = useState<any[]>([]);
  useEffect(() => { (async () => {
    const done: any[] = [];
    for (const panel of board.panels) {
      try { done.push({ panel, data: panel.type === 'row' ? [] : await load(panel) }); }
      catch (error) { done.push({ panel, data: [], error: String(error) }); }
    }
    setPanels(done);
    const said = done.filter(({ panel }) => panel.type !== 'row').map(({ panel, data, error }) =>
      ({ title: panel.title, rows: data.reduce((sum: number, frame: any) => sum + frame.length, 0), error }));
    setTimeout(() => { (window as any).drawn = said; }, 1000);
  })(); }, []);
  const bottom = Math.max(...board.panels.map((p: any) => p.gridPos.y + p.gridPos.h)) * (CELL + GAP);
  return <ThemeContext.Provider value={theme}><GlobalStyles />
    <div style={{ background: theme.colors.background.canvas, color: theme.colors.text.primary, width: WIDTH + 2 * GAP, padding: GAP,
      fontFamily: theme.typography.fontFamily, fontSize: 14 }}>
      <div style={{ fontSize: 18, padding: 8 }}>{board.title}</div>
      <div style={{ position: 'relative', height: bottom }}>
        {panels.map((one, i) => <Panel key={i} {...one} />)}</div></div>
  </ThemeContext.Provider>;
}

createRoot(document.getElementById('root')!).render(<Board />);
