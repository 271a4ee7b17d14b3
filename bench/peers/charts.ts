/** Draws charts as SVG, by ECharts, which needs no browser for it. */
import * as echarts from 'echarts'
import type { Chart, Curves } from '../chart-data.js'

const WIDTH = 920
const CURVES_HEIGHT = 460
const COLOURS = ['#1f6feb', '#d4691e', '#2d8a4e', '#8250df', '#b3261e', '#57606a']
const TEXT = '#24292f'

/** The chart as the text of an SVG file. */
export function svgOf(chart: Chart | Curves): string {
  if (chart.kind === 'curves') return drawn(curves(chart), CURVES_HEIGHT)
  const isLines = chart.kind === 'lines'
  const bars = chart.categories.length * (chart.kind === 'stacked' ? 1 : chart.series.length)
  const height = isLines ? 420 : 130 + chart.categories.length * 10 + bars * 17
  return drawn(isLines ? lines(chart) : barsOf(chart), height)
}

function drawn(option: echarts.EChartsCoreOption, height: number): string {
  const instance = echarts.init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height })
  instance.setOption(option)
  const svg = instance.renderToSVGString()
  instance.dispose()
  return `${svg}\n`
}

const frame = ({ title }: { title: string }): echarts.EChartsCoreOption => ({
  animation: false,
  backgroundColor: '#ffffff',
  color: COLOURS,
  textStyle: { fontFamily: 'Helvetica, Arial, sans-serif', color: TEXT },
  title: { text: title, left: 16, top: 12, textStyle: { fontSize: 16, color: TEXT } },
  legend: { left: 16, top: 40, textStyle: { color: TEXT }, itemGap: 36 },
})

const numberText = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)

function barsOf(chart: Chart): echarts.EChartsCoreOption {
  const { axis, categories, series, mark, kind } = chart
  const longest = Math.max(...categories.map(c => c.length))
  const isStacked = kind === 'stacked'
  return {
    ...frame(chart),
    grid: { left: 32 + longest * 7, right: 64, top: 84, bottom: 52 },
    xAxis: { type: 'value', name: axis, nameLocation: 'middle', nameGap: 30, axisLabel: { color: TEXT } },
    yAxis: { type: 'category', data: [...categories], inverse: true, axisLabel: { color: TEXT, interval: 0 } },
    series: series.map(({ name, values }, i) => ({
      ...{ type: 'bar', name, barMaxWidth: 14, ...(isStacked && { stack: 'all' }) },
      data: values.map(value => value ?? '-'),
      label: {
        ...{ show: !isStacked || i === series.length - 1, position: 'right', color: TEXT, fontSize: 11 },
        // A stack's last part is labelled with the whole.
        formatter: ({ dataIndex }: { dataIndex: number }) =>
          numberText(isStacked ? series.reduce((sum, s) => sum + (s.values[dataIndex] ?? 0), 0) : values[dataIndex]!),
      },
      ...(i === 0 && mark !== undefined && { markLine: markLine(mark) }),
    })),
  }
}

/** Its meaning is the axis's name. */
const markLine = (at: number) => ({
  ...{ symbol: 'none', silent: true, data: [{ xAxis: at }] },
  lineStyle: { color: TEXT, type: 'dashed' },
  label: { show: false },
})

function lines(chart: Chart): echarts.EChartsCoreOption {
  const { axis, categories, series } = chart
  return {
    ...frame(chart),
    grid: { left: 72, right: 32, top: 84, bottom: 40 },
    xAxis: { type: 'category', data: [...categories], axisLabel: { color: TEXT } },
    yAxis: { type: 'log', name: axis, axisLabel: { color: TEXT }, nameLocation: 'middle', nameGap: 48 },
    series: series.map(({ name, values }, i) => ({
      ...{ type: 'line', name, data: [...values], symbolSize: 8 },
      ...(i > 0 && { lineStyle: { type: 'dashed' }, symbol: 'none' }),
    })),
  }
}

function curves(chart: Curves): echarts.EChartsCoreOption {
  const { axis, across, series, levels } = chart
  return {
    ...frame(chart),
    grid: { left: 80, right: 120, top: 92, bottom: 60 },
    xAxis: {
      ...{ type: 'log', name: across, nameLocation: 'middle', nameGap: 34, ...decades(series) },
      axisLabel: { color: TEXT },
      axisLine: { onZero: false },
    },
    yAxis: {
      ...{ type: 'value', scale: true, name: axis, nameLocation: 'middle', nameGap: 52, axisLabel: { color: TEXT } },
      // Lines across are no data to the axis.
      min: ({ min }: { min: number }) => tidy(Math.min(min, ...levels.map(l => l.value)), Math.floor),
      max: ({ max }: { max: number }) => tidy(Math.max(max, ...levels.map(l => l.value)), Math.ceil),
    },
    color: series.map(({ colour }, i) => COLOURS[colour ?? i] as string),
    series: series.map(({ name, points }, i) => ({
      ...{ type: 'line', name, data: points.map(p => [...p]), symbolSize: 7, lineStyle: { width: 2 } },
      ...(i === 0 && levels.length > 0 && { markLine: levelLines(levels) }),
    })),
  }
}

/** The powers of ten around all that lies across. */
function decades(series: Curves['series']): { min: number; max: number } {
  const all = series.flatMap(s => s.points.map(([x]) => x))
  const [least, most] = [Math.min(...all), Math.max(...all)]
  return { min: 10 ** Math.floor(Math.log10(least)), max: 10 ** Math.ceil(Math.log10(most)) }
}

/** To a whole number, or for figures below ten to a tenth. */
const tidy = (value: number, to: (x: number) => number): number =>
  Math.abs(value) >= 10 ? to(value) : to(value * 10) / 10

const levelLines = (levels: Curves['levels']) => ({
  // Lines are drawn where they are, not at two places after the point.
  ...{ symbol: 'none', silent: true, precision: 12, lineStyle: { color: TEXT, type: 'dashed' } },
  data: levels.map(({ name, value }) => ({ name, yAxis: value })),
  label: { formatter: '{b}', position: 'end', color: TEXT },
})
