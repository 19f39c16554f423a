package main

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plotRatios draws the ratio of each row as a bar, and what it shall be as a line across it.
func plotRatios(path string, results []*result) error {
	p := plot.New()
	p.Title.Text = "Skerry's rate by etcd's, same machine and load"
	p.X.Min = 0
	var values plotter.Values
	var names []string
	for i := len(results) - 1; i >= 0; i-- { // the first row on top
		r := results[i]
		values = append(values, r.ratio(rate))
		names = append(names, fmt.Sprintf("%s: %s", r.layout, r.row.name))
	}
	bars, err := plotter.NewBarChart(values, vg.Points(12))
	if err != nil {
		return err
	}
	bars.Horizontal = true
	bars.Color = color.RGBA{R: 70, G: 130, B: 180, A: 255}
	p.Add(bars)
	for i := range results {
		r := results[len(results)-1-i]
		if r.row.least == 0 {
			continue
		}
		line, err := plotter.NewLine(plotter.XYs{{X: r.row.least, Y: float64(i) - 0.4}, {X: r.row.least, Y: float64(i) + 0.4}})
		if err != nil {
			return err
		}
		line.Color = color.RGBA{R: 200, A: 255}
		line.Width = vg.Points(2)
		p.Add(line)
	}
	p.NominalY(names...)
	return p.Save(22*vg.Centimeter, vg.Length(2+len(results))*vg.Centimeter, path)
}
